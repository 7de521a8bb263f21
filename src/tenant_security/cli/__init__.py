"""The command line: one module per subcommand group. Thin: it parses, calls, and prints for people or for machines.

May import everything except ``testing``.
"""
