"""Models of the Hugging Face Hub by name: choosing, downloading, finding again and removing their files.

    names            what a user writes: owner/name[@revision][:TAG]
    listing          the files of a repository, with sizes and checksums
    model_choice     which of them a TAG means
    connection       requests to the Hub, and what can go wrong with them
    remote_file      one file, read by ranges
    download         one file into the cache, whole and checked
    cache            the folder that all programs of the Hub share
    pull             a model's files, one after the other
    cached_models    what is there, and removing it

The endpoint, the token, the cache folder and whether there is a network are what the package
huggingface_hub says (`HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_CACHE` or `HF_HOME`, `HF_HUB_OFFLINE`). Files are
downloaded here and not by that package: it throws away what has come when a download ends early, does not
compare checksums, and tells the Hub more about the machine than it needs to know.
"""
