typedef struct Object Object;
typedef struct Object *ObjectPtr;
typedef int (Command)(void *, int);
provider script {
	probe cmd__args(char *name, int objc, Object **objv, ObjectPtr self, Command *cmd);
};
struct Text { char *bytes; int length; };
struct Object {
	int refs;
	struct Text text;
	union { long number; double real; struct { void *first; void *second; } pair; } value;
};
enum { NONE, SOME };
enum return_codes { CODE_OK, CODE_ERROR, CODE_RETURN = 5, CODE_BREAK };
