"""The world's data: HyperSpy signals in and out, the result and its folder, and where it came from.

``headers`` looks at a file before any reader does, ``reading`` turns a file into signals or into one
clear error, within bounds of time and memory, ``summary`` says what a signal holds, ``bridge`` unwraps
signals to arrays and wraps arrays as signals, and ``provenance`` keeps what must be known to run an
answer again.
"""
