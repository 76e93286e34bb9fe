"""A fake SMS provider: the other side of ``sms_adapters/fake.py``, for the demo, tests and integrators."""
