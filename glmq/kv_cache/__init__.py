"""The keys and values of tokens that have been evaluated, in pages that sequences share.

page_pool         memory with a limit, in pages
prefix_tree       which tokens are in which pages; keeps those that no sequence uses while there is room
tree_node         a node of it; oldest_first: nodes in the order of their last use
page_file         pages on the disk, in an unnamed_file
page_writer       writes pages there before their memory is wanted
returning_pages   brings them back
sequence          tokens and their pages: grown, rewound, forked, shared
hidden_states     what multi-token prediction goes on from
page_copy         what is copied when a sequence writes to a page that it shares
cache_statistics  what is told of all of it
"""
