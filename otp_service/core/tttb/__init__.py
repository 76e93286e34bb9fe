"""
What 1414 answers to ``TTTB``: the text as the phone shows it, read and weighed.

::

    text.py      folding, links, the command that was sent
    fields.py    labels and their values
    phones.py    the SIM that the text is about, lists of SIMs
    numbers.py   what looks like an ID number and has no label
    phrases.py   refusals, wrong syntax, no data; what an "if" covers; forms
    words.py     the words that are known to say nothing against a reply
    reply.py     all of them together: what a text shows
    evidence.py  what that comes to, compared with a question
"""
