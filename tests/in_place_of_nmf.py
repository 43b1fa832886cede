"""A plugin of pytest that puts em.NMF in the place of scikit-learn's, for the tests of others.

python -m pytest -p in_place_of_nmf --pyargs hyperspy.tests.learn -k "NMF and not ORNMF"
"""

import sklearn.decomposition

import endmember as em

sklearn.decomposition.NMF = em.NMF
