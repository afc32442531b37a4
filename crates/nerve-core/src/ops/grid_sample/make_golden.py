"""Writes golden.rs: samples of a small image as torch.nn.functional.grid_sample has them."""
import torch
import torch.nn.functional as F

P=[-1.0,-1.0,0.0,0.3,0.9,-0.2,1.3,0.1,-2.6,0.4,3.7,-1.9,0.5,1.0,-0.7,2.2,0.05,-0.95,1.0,1.0]
x=(torch.arange(12,dtype=torch.float64)**2).view(1,1,3,4)
g=torch.tensor(P,dtype=torch.float64).view(1,2,5,2)
out=[]
M={'nearest':'Nearest','bilinear':'Linear','bicubic':'Cubic'}
B={'zeros':'Zeros','border':'Border','reflection':'Reflection'}
for m in M:
  for b in B:
    for a in (False,True):
      y=F.grid_sample(x,g,mode=m,padding_mode=b,align_corners=a).flatten().tolist()
      out.append(f"    (Sampling::{M[m]}, Beyond::{B[b]}, {str(a).lower()}, [{', '.join(repr(float(v)) for v in y)}]),")
print("const GOLDEN: [(Sampling, Beyond, bool, [f64; 10]); %d] = ["%len(out)); print("\n".join(out)); print("];")
