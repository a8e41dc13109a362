provider quicly {
	/** @appdata
	 * {"type": {"at": 1}}
	 */
	probe packet_sent(struct conn_s *conn, int64_t at, uint64_t pn);
};
