"""The cone and the simplex: extreme pixels, and all answers that fit as well."""
