// MySQL 5.5 to 5.7 and MariaDB: include/probes_mysql.d.base.

#define ROW(name) \
	probe name##__start(char *database, char *table); \
	probe name##__done(int status)
#define STATEMENT(name) \
	probe name##__start(char *query); \
	probe name##__done(int status, unsigned long rows)
#define UPDATE(name) \
	probe name##__start(char *query); \
	probe name##__done(int status, unsigned long rows_matched, unsigned long rows_changed)

provider mysql {
	probe connection__start(unsigned long connection_id, char *user, char *host);
	probe connection__done(int status, unsigned long connection_id);
	probe command__start(unsigned long connection_id, int command, char *user, char *host);
	probe command__done(int status);

	probe query__start(char *query, unsigned long connection_id, char *database, char *user, char *host);
	probe query__done(int status);
	probe query__parse__start(char *query);
	probe query__parse__done(int status);
	probe query__cache__hit(char *query, unsigned long rows);
	probe query__cache__miss(char *query);
	probe query__exec__start(
		char *query,
		unsigned long connection_id,
		char *database,
		char *user,
		char *host,
		int exec_type
	);
	probe query__exec__done(int status);

	ROW(insert__row);
	ROW(update__row);
	ROW(delete__row);
	ROW(index__read__row);
	ROW(handler__rdlock);
	ROW(handler__wrlock);
	ROW(handler__unlock);
	probe read__row__start(char *database, char *table, int scan_flag);
	probe read__row__done(int status);
	probe filesort__start(char *database, char *table);
	probe filesort__done(int status, unsigned long rows);

	STATEMENT(select);
	STATEMENT(insert);
	STATEMENT(insert__select);
	STATEMENT(delete);
	STATEMENT(multi__delete);
	UPDATE(update);
	UPDATE(multi__update);

	probe net__read__start();
	probe net__read__done(int status, unsigned long bytes);
	probe net__write__start(unsigned long bytes);
	probe net__write__done(int status);

	probe keycache__read__start(
		char *file,
		unsigned long bytes,
		unsigned long memory_used,
		unsigned long memory_free
	);
	probe keycache__read__block(unsigned long bytes);
	probe keycache__read__hit();
	probe keycache__read__miss();
	probe keycache__read__done(unsigned long memory_used, unsigned long memory_free);
	probe keycache__write__start(
		char *file,
		unsigned long bytes,
		unsigned long memory_used,
		unsigned long memory_free
	);
	probe keycache__write__block(unsigned long bytes);
	probe keycache__write__done(unsigned long memory_used, unsigned long memory_free);
};
