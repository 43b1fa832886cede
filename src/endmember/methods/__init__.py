"""The models: scikit-learn estimators on spectrum images, one file a family."""
