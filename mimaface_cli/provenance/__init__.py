"""Marks that identify results as generated: watermark, metadata, record, content credentials; and their inspection."""
