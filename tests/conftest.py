"""What all tests share."""

import os

import hypothesis

# CI asks for the same examples every time; a developer's machine explores.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None)
hypothesis.settings.register_profile("default", deadline=None)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")
