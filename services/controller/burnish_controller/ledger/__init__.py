"""The call ledger: reserves, books, journals and traces every paid call of a job."""
