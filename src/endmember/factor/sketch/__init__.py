"""Large data reduced to the few directions that carry the signal, and the way back."""

import endmember.factor.data  # noqa: F401  the way in comes first: it looks over what it reads
