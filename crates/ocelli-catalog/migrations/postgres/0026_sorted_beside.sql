-- New words wait in a list before they are sorted into their index. Whoever writes has that done beside it (postgres/sorting.rs), so
-- the list becomes this long only where nobody does; then the transaction that adds the last word does it itself.
ALTER INDEX search_words SET (gin_pending_list_limit = 32768);
ALTER INDEX search_parts SET (gin_pending_list_limit = 32768);
