"""Files of many requests, in the form of OpenAI's batches, answered through the server's own routes.

requests    the lines of the file with requests, and what is wrong with them
order       those with the same beginning behind each other, so that it is read once
run         answers them, many at once
in_process  the server's application, called without HTTP
results     the file of results, which grows by whole lines
"""
