"""The second home of an index: a PostgreSQL database, with pgvector for vectors (docs/postgresql.md)."""
