SELECT reader_id, plan FROM readers
