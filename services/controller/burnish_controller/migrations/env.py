"""Runs the migrations on the connection that the controller opened."""

from alembic import context

from burnish_controller.store.tables import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
