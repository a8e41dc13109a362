// OpenJDK: src/hotspot/os/posix/dtrace/hotspot_jni.d, and the names of the Java Native Interface
// specification. Floating-point arguments are not passed to the probes.

#define CALLS(name, arguments, result) \
	probe name##__entry arguments; \
	probe name##__return result; \
	probe name##A__entry arguments; \
	probe name##A__return result; \
	probe name##V__entry arguments; \
	probe name##V__return result
#define METHOD(type, result) \
	CALLS(Call##type##Method, (void *env, void *object, uintptr_t method), result); \
	CALLS(CallNonvirtual##type##Method, (void *env, void *object, void *class, uintptr_t method), result); \
	CALLS(CallStatic##type##Method, (void *env, void *class, uintptr_t method), result)
#define FUNCTION(name, arguments, result) \
	probe name##__entry arguments; \
	probe name##__return result
#define GET_FIELD(type, result) \
	FUNCTION(Get##type##Field, (void *env, void *object, uintptr_t field), result); \
	FUNCTION(GetStatic##type##Field, (void *env, void *class, uintptr_t field), result)
#define SET_FIELD(type, value) \
	FUNCTION(Set##type##Field, (void *env, void *object, uintptr_t field, value), ()); \
	FUNCTION(SetStatic##type##Field, (void *env, void *class, uintptr_t field, value), ())
#define SET_FLOAT_FIELD(type) \
	FUNCTION(Set##type##Field, (void *env, void *object, uintptr_t field), ()); \
	FUNCTION(SetStatic##type##Field, (void *env, void *class, uintptr_t field), ())
#define ARRAY(type) \
	FUNCTION(New##type##Array, (void *env, int length), (void *array)); \
	FUNCTION(Get##type##ArrayElements, (void *env, void *array, void *is_copy), (void *elements)); \
	FUNCTION(Release##type##ArrayElements, (void *env, void *array, void *elements, int mode), ()); \
	FUNCTION(Get##type##ArrayRegion, (void *env, void *array, int start, int length, void *buffer), ()); \
	FUNCTION(Set##type##ArrayRegion, (void *env, void *array, int start, int length, void *buffer), ())

provider hotspot_jni {
	METHOD(Boolean, (bool result));
	METHOD(Byte, (int8_t result));
	METHOD(Char, (uint16_t result));
	METHOD(Double, ());
	METHOD(Float, ());
	METHOD(Int, (int32_t result));
	METHOD(Long, (int64_t result));
	METHOD(Object, (void *result));
	METHOD(Short, (int16_t result));
	METHOD(Void, ());
	GET_FIELD(Boolean, (bool value));
	GET_FIELD(Byte, (int8_t value));
	GET_FIELD(Char, (uint16_t value));
	GET_FIELD(Double, ());
	GET_FIELD(Float, ());
	GET_FIELD(Int, (int32_t value));
	GET_FIELD(Long, (int64_t value));
	GET_FIELD(Object, (void *value));
	GET_FIELD(Short, (int16_t value));
	SET_FIELD(Boolean, bool value);
	SET_FIELD(Byte, int8_t value);
	SET_FIELD(Char, uint16_t value);
	SET_FIELD(Int, int32_t value);
	SET_FIELD(Long, int64_t value);
	SET_FIELD(Object, void *value);
	SET_FIELD(Short, int16_t value);
	SET_FLOAT_FIELD(Double);
	SET_FLOAT_FIELD(Float);
	ARRAY(Boolean);
	ARRAY(Byte);
	ARRAY(Char);
	ARRAY(Double);
	ARRAY(Float);
	ARRAY(Int);
	ARRAY(Long);
	ARRAY(Short);
	CALLS(NewObject, (void *env, void *class, uintptr_t method), (void *object));
	FUNCTION(AllocObject, (void *env, void *class), (void *object));
	FUNCTION(AttachCurrentThread, (void *vm, void *env, void *arguments), (int result));
	FUNCTION(AttachCurrentThreadAsDaemon, (void *vm, void *env, void *arguments), (int result));
	FUNCTION(CreateJavaVM, (void *vm, void *env, void *arguments), (int result));
	FUNCTION(DefineClass, (void *env, const char *name, void *loader, void *buffer, int length), (void *class));
	FUNCTION(DeleteGlobalRef, (void *env, void *object), ());
	FUNCTION(DeleteLocalRef, (void *env, void *object), ());
	FUNCTION(DeleteWeakGlobalRef, (void *env, void *object), ());
	FUNCTION(DestroyJavaVM, (void *vm), (int result));
	FUNCTION(DetachCurrentThread, (void *vm), (int result));
	FUNCTION(EnsureLocalCapacity, (void *env, int capacity), (int result));
	FUNCTION(ExceptionCheck, (void *env), (bool is_pending));
	FUNCTION(ExceptionClear, (void *env), ());
	FUNCTION(ExceptionDescribe, (void *env), ());
	FUNCTION(ExceptionOccurred, (void *env), (void *throwable));
	probe FatalError__entry(void *env, const char *message);
	FUNCTION(FindClass, (void *env, const char *name), (void *class));
	FUNCTION(FromReflectedField, (void *env, void *field_object), (uintptr_t field));
	FUNCTION(FromReflectedMethod, (void *env, void *method_object), (uintptr_t method));
	FUNCTION(GetArrayLength, (void *env, void *array), (int length));
	FUNCTION(GetCreatedJavaVMs, (void *buffer, int capacity, void *count), (int result));
	FUNCTION(GetDefaultJavaVMInitArgs, (void *arguments), (int result));
	FUNCTION(GetDirectBufferAddress, (void *env, void *buffer), (void *address));
	FUNCTION(GetDirectBufferCapacity, (void *env, void *buffer), (int64_t capacity));
	FUNCTION(GetEnv, (void *vm, void *env, int version), (int result));
	FUNCTION(GetFieldID, (void *env, void *class, const char *name, const char *signature), (uintptr_t field));
	FUNCTION(GetMethodID, (void *env, void *class, const char *name, const char *signature), (uintptr_t method));
	FUNCTION(
		GetStaticFieldID,
		(void *env, void *class, const char *name, const char *signature),
		(uintptr_t field)
	);
	FUNCTION(
		GetStaticMethodID,
		(void *env, void *class, const char *name, const char *signature),
		(uintptr_t method)
	);
	FUNCTION(GetJavaVM, (void *env, void *vm), (int result));
	FUNCTION(GetModule, (void *env, void *class), (void *module));
	FUNCTION(GetObjectArrayElement, (void *env, void *array, int index), (void *value));
	FUNCTION(SetObjectArrayElement, (void *env, void *array, int index, void *value), ());
	FUNCTION(GetObjectClass, (void *env, void *object), (void *class));
	FUNCTION(GetObjectRefType, (void *env, void *object), (uintptr_t type));
	FUNCTION(GetPrimitiveArrayCritical, (void *env, void *array, void *is_copy), (void *elements));
	FUNCTION(ReleasePrimitiveArrayCritical, (void *env, void *array, void *elements, int mode), ());
	FUNCTION(GetStringChars, (void *env, void *string, void *is_copy), (void *characters));
	FUNCTION(ReleaseStringChars, (void *env, void *string, void *characters), ());
	FUNCTION(GetStringCritical, (void *env, void *string, void *is_copy), (void *characters));
	FUNCTION(ReleaseStringCritical, (void *env, void *string, void *characters), ());
	FUNCTION(GetStringUTFChars, (void *env, void *string, void *is_copy), (const char *characters));
	FUNCTION(ReleaseStringUTFChars, (void *env, void *string, const char *characters), ());
	FUNCTION(GetStringLength, (void *env, void *string), (int length));
	FUNCTION(GetStringUTFLength, (void *env, void *string), (int length));
	FUNCTION(GetStringUTFLengthAsLong, (void *env, void *string), (int64_t length));
	FUNCTION(GetStringRegion, (void *env, void *string, int start, int length, void *buffer), ());
	FUNCTION(GetStringUTFRegion, (void *env, void *string, int start, int length, void *buffer), ());
	FUNCTION(GetSuperclass, (void *env, void *class), (void *superclass));
	FUNCTION(GetVersion, (void *env), (int version));
	FUNCTION(IsAssignableFrom, (void *env, void *class, void *superclass), (bool result));
	FUNCTION(IsInstanceOf, (void *env, void *object, void *class), (bool result));
	FUNCTION(IsSameObject, (void *env, void *object1, void *object2), (bool result));
	FUNCTION(IsVirtualThread, (void *env, void *object), (bool result));
	FUNCTION(MonitorEnter, (void *env, void *object), (int result));
	FUNCTION(MonitorExit, (void *env, void *object), (int result));
	FUNCTION(NewDirectByteBuffer, (void *env, void *address, int64_t capacity), (void *buffer));
	FUNCTION(NewGlobalRef, (void *env, void *object), (void *ref));
	FUNCTION(NewLocalRef, (void *env, void *object), (void *ref));
	FUNCTION(NewWeakGlobalRef, (void *env, void *object), (void *ref));
	FUNCTION(NewObjectArray, (void *env, int length, void *class, void *initial), (void *array));
	FUNCTION(NewString, (void *env, void *characters, int length), (void *string));
	FUNCTION(NewStringUTF, (void *env, const char *characters), (void *string));
	FUNCTION(PopLocalFrame, (void *env, void *object), (void *object));
	FUNCTION(PushLocalFrame, (void *env, int capacity), (int result));
	FUNCTION(RegisterNatives, (void *env, void *class, void *methods, int count), (int result));
	FUNCTION(UnregisterNatives, (void *env, void *class), (int result));
	FUNCTION(Throw, (void *env, void *throwable), (int result));
	FUNCTION(ThrowNew, (void *env, void *class, const char *message), (int result));
	FUNCTION(ToReflectedField, (void *env, void *class, uintptr_t field, bool is_static), (void *object));
	FUNCTION(ToReflectedMethod, (void *env, void *class, uintptr_t method, bool is_static), (void *object));
};
