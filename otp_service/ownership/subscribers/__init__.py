"""
The table of subscribers: files of rows in, digests at rest.

::

    rows.py       one row checked; CSV
    xlsx.py       the first sheet of a workbook (xlsx_package.py its parts, xlsx_values.py its cells)
    files.py      sorted runs, and a file put in another's place
    importing.py  all rows into a table, or nothing
    table.py      the table: its format, and looking into it
"""
