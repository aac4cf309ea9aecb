"""Encoders at work: texts embedded, searched, and judged on what people call relevant."""
