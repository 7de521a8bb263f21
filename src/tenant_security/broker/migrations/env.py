"""What Alembic runs: it uses the connection that it was given and commits nothing itself."""

from alembic import context

from tenant_security.broker.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
