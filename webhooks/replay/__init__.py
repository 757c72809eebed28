"""The webhook replay tool: reads deliveries, plans, sends, compares, records."""
