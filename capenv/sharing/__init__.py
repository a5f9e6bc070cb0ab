"""Who may use what: the table behind capability URLs."""

from capenv.sharing.table import CapabilityTable

__all__ = ["CapabilityTable"]
