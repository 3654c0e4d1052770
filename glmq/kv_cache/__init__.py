"""The keys and values of tokens that have been evaluated, in pages that sequences share.

page_pool      memory with a limit, in pages
prefix_tree    which tokens are in which pages; keeps those that no sequence uses while there is room
sequence       tokens and their pages: grown, rewound, forked, shared
hidden_states  what multi-token prediction goes on from
page_copy      what is copied when a sequence writes to a page that it shares
"""
