"""
What 1414 answers to ``TTTB``: the text as the phone shows it, read and weighed.

::

    text.py      folding, links, the command that was sent
    fields.py    labels and their values
    phones.py    the SIM that the text is about, lists of SIMs
    phrases.py   refusals, wrong syntax, no data
    reply.py     all of them together: what a text shows
    evidence.py  what that comes to, compared with a question
"""
