"""
HTTP that is described in the settings alone, for gateways and ownership sources.

::

    check.py      reads a description, and tells all its mistakes at once
    templates.py  requests with placeholders
    answers.py    rules for answers
"""
