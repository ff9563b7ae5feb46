"""Bytes and fields: the probe in a frame and the trailer behind it."""
