/* A libcuda.so.1 without a GPU: enough for cuDNN to load and to build plans for a GPU that is described to it.
   Everything that would need a device answers CUDA_ERROR_NO_DEVICE (100). */

#include <stddef.h>

#define NO_DEVICE 100
#define SUCCESS 0

int cuGetErrorString(int error, const char **text) { (void)error; *text = "no device"; return SUCCESS; }
int cuGetErrorName(int error, const char **text) { (void)error; *text = "CUDA_ERROR_NO_DEVICE"; return SUCCESS; }
int cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
int cuDeviceGetCount(int *count) { *count = 0; return NO_DEVICE; }

/* Compiled plans are loaded while they are built; nobody ever launches them. */
static char module, function;
int cuModuleLoadData(void **result, const void *image) { (void)image; *result = &module; return SUCCESS; }
int cuModuleUnload(void *handle) { (void)handle; return SUCCESS; }
int cuModuleGetFunction(void **result, void *handle, const char *name)
{ (void)handle; (void)name; *result = &function; return SUCCESS; }
int cuLibraryLoadData(void **result, const void *code, void *a, void *b, unsigned c, void *d, void *e, unsigned f)
{ (void)code; (void)a; (void)b; (void)c; (void)d; (void)e; (void)f; *result = &module; return SUCCESS; }
int cuLibraryUnload(void *handle) { (void)handle; return SUCCESS; }
int cuLibraryGetKernel(void **result, void *handle, const char *name)
{ (void)handle; (void)name; *result = &function; return SUCCESS; }
int cuKernelGetFunction(void **result, void *kernel) { (void)kernel; *result = &function; return SUCCESS; }
int cuKernelSetAttribute(int attribute, int value, void *kernel, int device)
{ (void)attribute; (void)value; (void)kernel; (void)device; return SUCCESS; }
int cuKernelGetAttribute(int *value, int attribute, void *kernel, int device)
{ (void)attribute; (void)kernel; (void)device; *value = 0; return SUCCESS; }
int cuCtxGetCurrent(void **context) { *context = &module; return SUCCESS; }
int cuDeviceGet(int *device, int ordinal) { (void)ordinal; *device = 0; return SUCCESS; }
int cuOccupancyMaxPotentialClusterSize(int *size, void *kernel, const void *config)
{ (void)kernel; (void)config; *size = 8; return SUCCESS; }

#define MISSING(name) int name(void) { return NO_DEVICE; }
MISSING(cuInit)
MISSING(cuCtxGetLimit)
MISSING(cuCtxPopCurrent)
MISSING(cuCtxPushCurrent)
MISSING(cuCtxPopCurrent_v2)
MISSING(cuCtxPushCurrent_v2)
MISSING(cuLaunchCooperativeKernel)
MISSING(cuLaunchKernel)
MISSING(cuLaunchKernelEx)
MISSING(cuLibraryLoadFromFile)
MISSING(cuLinkAddData)
MISSING(cuLinkAddData_v2)
MISSING(cuLinkComplete)
MISSING(cuLinkCreate)
MISSING(cuLinkCreate_v2)
MISSING(cuLinkDestroy)
MISSING(cuStreamGetCtx)
MISSING(cuTensorMapEncodeIm2col)
MISSING(cuTensorMapEncodeTiled)
