"""
A sample portal: a real client of the service's public API, with accounts of its own.

It walks the steps of 2021: register (form, code by SMS, password twice), sign in and replace a forgotten password by
SMS, and link the account of an old provincial one-stop system.  It runs as a process of its own, knows the service by
``otp_service.client`` alone, and keeps its people in its own SQLite database::

    python -m otp_service.sample_portal --help

::

    __main__ → server → registration, sign_in, recovery, linking, home, handover, verdict_feed
                      → results, starting, redeeming
                      → signed_in, accounts, guesses, flows, sessions, passwords, pages → database, server_key, settings
                      → connections, bodies
"""
