"""Products of weight matrices with tokens, few (rows) and many (panels)."""
