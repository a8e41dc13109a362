/* Aliases as macros, as a database server would write them. */
#define RelationId unsigned int
#define TransactionCount unsigned long
#define Flag unsigned char

provider storage {
	probe lock__wait__start(RelationId, RelationId, Flag);
	probe commit(TransactionCount count);
};
