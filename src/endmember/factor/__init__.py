"""The mathematics of one factor: arrays in, arrays out.

Every factor ``F`` of every model faces ``X ≈ F Zᵀ``, with ``Z`` made from the other factors. A
*loss* turns the data into a subproblem for ``F``, *penalties* add to it what they ask for, a *solver*
improves ``F`` without ever seeing the data, and :func:`~endmember.factor.loop.alternate.alternate`
takes the factors in turn.
"""
