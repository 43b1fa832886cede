"""A plugin of pytest that puts em.NMF in the place of scikit-learn's, for the tests of others.

python -m pytest -p in_place_of_nmf --pyargs hyperspy.tests.learn -k "NMF and not ORNMF"
"""

import sklearn.decomposition

import endmember as em


def pytest_configure(config):
    """Put it there where this is asked for as a plugin, not where it is only imported."""
    sklearn.decomposition.NMF = em.NMF
