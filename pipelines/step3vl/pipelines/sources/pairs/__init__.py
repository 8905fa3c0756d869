"""Images with texts: tables, tars of img2dataset, interleaved documents, a search over captions."""
