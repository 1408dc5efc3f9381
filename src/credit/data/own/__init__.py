"""Data sets of the user's own: how they are declared, what is found in their files, and that a change is noticed."""
