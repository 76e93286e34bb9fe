"""
SMSCs on loopback for the tests of the SMPP gateway.

``raw`` speaks octets that the test writes itself.  ``node`` is the npm package ``smpp``, an implementation that shares
nothing with the gateway; ``make test`` installs it into ``.cache/smsc`` from the lock in this folder.
"""
