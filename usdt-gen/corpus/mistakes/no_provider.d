/* just types */
typedef int a;
