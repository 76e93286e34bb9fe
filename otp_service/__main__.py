"""``python -m otp_service``."""

from otp_service.cli import main

main()
