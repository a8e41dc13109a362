provider Engine { probe gcStart(int heapSize); probe GCEnd(int HeapSize); probe RequestId__httpURL(int userID); };
