"""PEOPLE: who they are, how they prove it, and what they are to vendors and tenants. Uses the broker's tables."""
