/**
 * Probes of the HTTP/2 layer.
 *
 * Names follow the frames.
 */
provider h2o {
	/**
	 * A frame was received.
	 * @appdata {"conn_id": [0], "kind": "frame"}
	 * @param conn_id the connection
	 * @param length  bytes of payload,
	 *                padding included
	 */
	probe receive_frame(uint64_t conn_id, uint32_t length, const uint8_t *payload);
	/* unrelated */

	probe undocumented(int a);
	probe trailing(int a);	// after it
	probe inline_comments(
		int fd,           /* descriptor */
		const char *path, // path as given
		/* flags of open(2) */
		int flags
	);
	/* one */ /* two */
	probe two_comments();
};
