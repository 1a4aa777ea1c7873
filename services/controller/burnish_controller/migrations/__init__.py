"""Migrations of the controller's tables, run by alembic at start."""
