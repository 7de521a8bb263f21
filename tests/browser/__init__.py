"""The web app: its trust module in Node, and the whole of it in a real browser."""
