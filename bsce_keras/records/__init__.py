"""The run folder: what was asked, what came out, tables and figures of it."""
