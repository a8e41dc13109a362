/* only types */
typedef int a;
