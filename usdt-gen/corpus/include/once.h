#pragma once
typedef long once_t;
struct once { int a; };
