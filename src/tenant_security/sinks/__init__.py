"""Where tenants' events go: one kind of sink per file, and the formats that they are written in.

A sink turns events into batches within its limits (pure), and sends a batch as a flow. It opens no socket and keeps
nothing: the delivery engine owns queues, waits and retries.

May import: ``outbound``, ``wire``, ``crypto``, ``errors``, ``secret``.
"""
