"""The controller's tables and what reads and writes them; the ledger of record of every job."""
