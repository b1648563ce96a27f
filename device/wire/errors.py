"""The one error of the contract with the cloud."""


class WireError(Exception):
    """A message that nobody can read: the caller drops and counts it, the bridge keeps it aside.

    Says what was found and what is wanted.
    """
