"""What the project's own tests need; nothing of `hil` is configured here."""

pytest_plugins = ("pytester",)
